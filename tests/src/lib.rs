//! The real gateway on port 0, engines, and everything else the end-to-end tests stand on.
