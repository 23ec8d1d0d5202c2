//! A parsed file that knows where everything in it stands.

/// A parsed file that knows where everything in it stands.
#[derive(Debug)]
pub struct Document;
