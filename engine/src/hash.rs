//! The one hash of keys, and the key groups that follow from it.
