//! Tests of the operation table and its routing.
