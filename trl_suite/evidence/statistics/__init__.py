"""Measures of curves, and estimates with intervals for few seeds; functions of arrays that read no files."""
