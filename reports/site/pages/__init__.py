"""The pages of the site, one topic a module."""
