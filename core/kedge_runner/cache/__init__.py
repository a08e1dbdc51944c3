"""The build cache, as builds see it. Imported only where caching is on, for it costs an import or two."""
