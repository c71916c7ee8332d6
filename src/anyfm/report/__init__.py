"""The HTML report: what is measured of models on a table, its figures, and the templates of the page."""
