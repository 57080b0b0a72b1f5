"""Results as documents and tables; no mathematics."""
