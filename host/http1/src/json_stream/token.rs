//! Where the reader of a JSON text stands: between two tokens, or inside one.

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// White space or a byte order mark before the text.
    Beginning,
    Value,
    /// The first value of an array, or its end.
    FirstValue,
    Key,
    /// The first key of an object, or its end.
    FirstKey,
    /// Inside a key if true, else inside a string.
    Text(bool, Escape),
    Colon,
    Number(Digits),
    /// The rest of a literal.
    Literal(&'static [u8]),
    /// The end of a value.
    After,
    Done,
    Broken(&'static str),
}

/// What comes next in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Begun,
    /// This many hexadecimal digits.
    Hex(u8),
}

/// The part of a number that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Escape {
    pub(super) fn after(self, byte: u8) -> Result<Self, &'static str> {
        match (self, byte) {
            (Self::Begun, b'u') => Ok(Self::Hex(4)),
            (Self::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Self::None),
            (Self::Hex(1), _) if byte.is_ascii_hexdigit() => Ok(Self::None),
            (Self::Hex(left), _) if byte.is_ascii_hexdigit() => Ok(Self::Hex(left - 1)),
            _ => Err("a string holds an unknown escape"),
        }
    }
}

impl Digits {
    /// The part that this byte belongs to. None if the number has ended before it.
    pub(super) fn after(self, byte: u8) -> Result<Option<At>, &'static str> {
        let next = match (self, byte) {
            (Self::Minus, b'I') => return Ok(Some(At::Literal(b"nfinity"))),
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            (Self::Zero | Self::Whole | Self::Fraction | Self::Exponent, _) => return Ok(None),
            _ => return Err("a digit must be here"),
        };
        Ok(Some(At::Number(next)))
    }
}
