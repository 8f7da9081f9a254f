"""What a method sees of CLIP, the types of its fields, and its errors."""
