"""Tables, figures and a site, made from recorded runs alone."""
