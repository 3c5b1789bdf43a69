//! Headers and footers under damage and forgery.
