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

    /// `name` has `NUMBER_NAME_MAX` bytes at most.
    // With the name at hand its bytes are stored as they are, and so is the member: of one length, of which a part counts.
    #[inline(always)]
    pub fn number(&mut self, name: &'static str, value: u64) -> &mut Self {
        // From its end, so that the digits need not be counted.
        let mut member = [b','; 2 * NUMBER_MAX];
        let digits = digits(&mut member, NUMBER_MAX - 1, value);
        let colon = digits - 2;
        member[colon..digits].copy_from_slice(b"\":");
        let quote = colon - name.len();
        member[quote..colon].copy_from_slice(name.as_bytes());
        let start = quote - 1;
        member[start] = b'"';
        let end = self.out.len() + NUMBER_MAX - start;
        let whole: &[u8; NUMBER_MAX] = member[start..].first_chunk().expect("as long behind it");
        self.out.extend_from_slice(whole);
        self.out.truncate(end);
        self
    }

    /// Nothing where the value is zero.
    #[inline(always)]
    pub fn number_if(&mut self, name: &'static str, value: u64) -> &mut Self {
        if value == 0 { self } else { self.number(name, value) }
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
        put_hex(self.out, bytes);
        self.out.push(b',');
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

/// Bytes of the name of a number, at most.
const NUMBER_NAME_MAX: usize = 24;

/// And of the member: quotes, a colon and a comma, too.
const NUMBER_MAX: usize = NUMBER_NAME_MAX + 3 + DIGITS_MAX + 1;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes in two lower-case digits.
const HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Appends lower-case hexadecimal digits in quotes.
pub fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for piece in bytes.chunks(16) {
        let mut digits = [0; 32];
        for (digits, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(piece) {
            *digits = HEX_PAIRS[usize::from(*byte)];
        }
        out.extend_from_slice(&digits[..piece.len() * 2]);
    }
    out.push(b'"');
}

/// Numbers below a hundred, in two digits.
pub(super) const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Appends decimal digits.
pub fn put_number(out: &mut Vec<u8>, value: u64) {
    let mut room = [0; DIGITS_MAX];
    let from = digits(&mut room, DIGITS_MAX, value);
    out.extend_from_slice(&room[from..]);
}

/// Digits of the greatest number.
const DIGITS_MAX: usize = 20;

/// Puts decimal digits before `end`. Returns where they begin.
#[inline]
fn digits<const ROOM: usize>(room: &mut [u8; ROOM], end: usize, mut value: u64) -> usize {
    let mut at = end;
    while value >= 100 {
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        at -= 1;
        room[at] = b'0' + value as u8;
    }
    at
}

/// Appends a string in quotes. Escaped are control characters (C0, DEL, C1), the line and paragraph separators, and the marks
/// that are not seen or turn the direction of writing: no reader can take them for a line's end, or for other words.
pub fn put_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(value.as_bytes());
    } else {
        value.chars().for_each(|char| put_char(out, char));
    }
    out.push(b'"');
}

/// A string in quotes, as records have it: nothing in it acts on a terminal.
pub fn quoted(value: &str) -> String {
    let mut out = Vec::new();
    put_string(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

fn put_char(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        char if needs_escape(char) => {
            // All of them are below U+10000.
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                out.push(HEX[(char as usize >> shift) & 15]);
            }
        }
        char => {
            let mut buffer = [0; 4];
            out.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

fn needs_escape(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_two_digits_each() {
        for length in [0, 1, 15, 16, 17, 40] {
            let bytes: Vec<u8> = (0..length).map(|at: u8| at.wrapping_mul(7)).collect();
            let mut out = Vec::new();
            put_hex(&mut out, &bytes);
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(String::from_utf8_lossy(&out), format!("\"{expected}\""));
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_printed() {
        let edges = (0..20).map(|power| 10_u64.pow(power)).flat_map(|edge| [edge - 1, edge, edge + 1]);
        for value in edges.chain([0, 42, 99, 100, 101, 12_345_678_901, u64::MAX]) {
            let mut out = b"x".to_vec();
            put_number(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), format!("x{value}"));
        }
    }
}
