"""Views of results as files: the report, tables, TensorBoard's events, and the archive that is committed."""
