"""Search spaces: the settings that a sweep varies."""
