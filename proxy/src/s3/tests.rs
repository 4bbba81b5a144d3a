//! Tests of request parsing.
