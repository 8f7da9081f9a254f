"""Charts of the site, as SVG."""
