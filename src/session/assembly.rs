//! What goes out of what came in: ranges of the bytes read, and bytes of our own between them.
//!
//! As long as one contiguous range is all, nothing is copied.

use bytes::BytesMut;

/// Capacity that is kept from one use to the next, at most (bytes).
const KEPT_MAX: usize = 1 << 20;

/// Output under construction from `input`.
#[derive(Debug)]
pub struct Assembly<'a> {
    input: &'a [u8],
    start: usize,
    end: usize,
    out: &'a mut BytesMut,
}

impl<'a> Assembly<'a> {
    /// `out` must be empty; it keeps its capacity from one use to the next.
    pub fn new(input: &'a [u8], out: &'a mut BytesMut) -> Self {
        out.clear();
        if out.capacity() > KEPT_MAX {
            *out = BytesMut::new();
        }
        Self { input, start: 0, end: 0, out }
    }

    /// Passes `input[from..to]` on.
    pub fn take(&mut self, from: usize, to: usize) {
        if self.end == from && self.start != self.end {
            self.end = to;
        } else {
            self.settle();
            (self.start, self.end) = (from, to);
        }
    }

    /// Where bytes of our own go.
    pub fn own(&mut self) -> &mut BytesMut {
        self.settle();
        self.out
    }

    /// As [`Self::own`], where there is something to put there.
    pub fn own_if(&mut self, wanted: bool) -> Option<&mut BytesMut> {
        wanted.then(|| self.own())
    }

    /// All of it, in order.
    pub fn finish(self) -> &'a [u8] {
        if self.out.is_empty() {
            return &self.input[self.start..self.end];
        }
        self.out.extend_from_slice(&self.input[self.start..self.end]);
        self.out
    }

    fn settle(&mut self) {
        if self.start != self.end {
            self.out.extend_from_slice(&self.input[self.start..self.end]);
            self.start = self.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjoining_ranges_are_one_slice_of_the_input() {
        let (input, mut out) = (b"abcdef", BytesMut::new());
        let mut assembly = Assembly::new(input, &mut out);
        assembly.take(1, 3);
        assembly.take(3, 5);
        let slice = assembly.finish();
        assert_eq!(slice, b"bcde");
        assert!(std::ptr::eq(slice.as_ptr(), &input[1]));
    }

    #[test]
    fn own_bytes_and_gaps_keep_their_order() {
        let mut out = BytesMut::from(&b"old"[..]);
        let mut assembly = Assembly::new(b"abcdef", &mut out);
        assembly.take(0, 2);
        assembly.own().extend_from_slice(b"--");
        assembly.take(2, 3);
        assembly.take(5, 6);
        assert_eq!(assembly.finish(), b"ab--cf");
    }
}
