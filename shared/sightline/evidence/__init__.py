"""Evidence records: their canonical form, signatures, bundles and content credentials."""
