"""Data files that come with the package; ATTRIBUTION.md says where each is from and under which licence."""
