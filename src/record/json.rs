//! Writing JSON: members of one object, without its braces.

/// Appends members of an object: each ends in a comma but for the last, which [`Json::done`] takes away.
#[derive(Debug)]
pub struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Json<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Members encoded before, with a comma behind the last.
    pub fn members(&mut self, encoded: &[u8]) -> &mut Self {
        self.out.extend_from_slice(encoded);
        self
    }

    /// `name` must need no escape.
    fn name(&mut self, name: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        put_number(self.out, value);
        self.out.push(b',');
        self
    }

    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        put_string(self.out, value);
        self.out.push(b',');
        self
    }

    /// Nothing where the value is empty.
    pub fn text_if(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() { self } else { self.text(name, value) }
    }

    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(if value { b"true," } else { b"false," });
        self
    }

    /// Lower-case hexadecimal digits.
    pub fn hex(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.name(name);
        self.out.push(b'"');
        for byte in bytes {
            self.out.push(HEX[usize::from(byte >> 4)]);
            self.out.push(HEX[usize::from(byte & 15)]);
        }
        self.out.extend_from_slice(b"\",");
        self
    }

    /// An array; `each` appends one item.
    pub fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        self.name(name);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            each(self.out, item);
        }
        self.out.extend_from_slice(b"],");
        self
    }

    /// No comma behind the last member.
    pub fn done(&mut self) {
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends decimal digits.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a string in quotes. Control characters, DEL included, and the line separators of Unicode are escaped.
pub fn put_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7f => b"",
            // The first byte of U+0085, U+2028, U+2029 and of much else.
            0xc2 if bytes.get(at + 1) == Some(&0x85) => b"",
            0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => b"",
            _ => continue,
        };
        if at < from {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if !escape.is_empty() {
            out.extend_from_slice(escape);
            continue;
        }
        let code = match byte {
            0xc2 => 0x85,
            0xe2 => 0x2000 | u32::from(bytes[at + 2] & 0x3f),
            byte => u32::from(*byte),
        };
        from = at
            + if *byte == 0xc2 {
                2
            } else if *byte == 0xe2 {
                3
            } else {
                1
            };
        out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            out.push(HEX[(code >> shift & 15) as usize]);
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}
