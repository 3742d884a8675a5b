//! Tests of the store over a small cluster in memory.
