//! Rows as bytes: CSV, JSON lines, Parquet.
