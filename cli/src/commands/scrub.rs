//! `scrub` and `compact`: work on a whole store.
