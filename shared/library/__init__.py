"""The library: brands, templates, policies, recipes, rubrics, routes, targets, campaigns — versioned and immutable."""
