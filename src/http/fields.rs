//! Field lists and connection-specific fields.
