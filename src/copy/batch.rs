//! Rows in columns, laid out as the elements of a binary array are: a length and bytes for each value, or -1 for NULL.
//!
//! Invariant: between rows every column has one value for every line number.

use std::ops::Range;

/// Rows that are sent to the server together.
#[derive(Debug)]
pub struct Batch {
    columns: Vec<Column>,
    /// The line that each row ended on.
    lines: Vec<u64>,
    bytes: usize,
    /// A row that lacks fields, with NULL in their place.
    broken: Option<Box<Batch>>,
    rows_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Column {
    data: Vec<u8>,
    /// Where the last value begins.
    last: usize,
    count: usize,
    nulls: usize,
}

/// Capacity of a column that is kept from one batch to the next, at most (bytes).
const KEPT_MAX: usize = 1 << 20;

impl Batch {
    /// A row is always taken whole: `bytes_max` may be passed by one.
    pub fn new(columns: usize, rows_max: usize, bytes_max: usize) -> Self {
        let columns = (0..columns).map(|_| Column::default()).collect();
        Self { columns, lines: Vec::new(), bytes: 0, broken: None, rows_max, bytes_max }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.lines.len() >= self.rows_max || self.bytes >= self.bytes_max
    }

    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The line that a row ended on.
    pub fn line(&self, row: usize) -> u64 {
        self.lines.get(row).copied().unwrap_or_default()
    }

    /// A column's values, one after the other as array elements.
    pub fn data(&self, column: usize) -> &[u8] {
        self.columns.get(column).map_or(&[], |column| &column.data)
    }

    pub fn has_nulls(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|column| column.nulls > 0)
    }

    /// Where each value of a column is in its data, its length included.
    pub fn elements(&self, column: usize) -> Elements<'_> {
        Elements { data: self.data(column), at: 0 }
    }

    pub fn clear(&mut self) {
        for column in &mut self.columns {
            column.data.clear();
            if column.data.capacity() > KEPT_MAX {
                column.data = Vec::new();
            }
            (column.last, column.count, column.nulls) = (0, 0, 0);
        }
        self.lines.clear();
        self.bytes = 0;
    }

    pub(super) fn column(&mut self, index: usize) -> Option<&mut Column> {
        self.columns.get_mut(index)
    }

    /// All columns have their value of this row. `bytes`: what it took in the data.
    pub(super) fn end_row(&mut self, line: u64, bytes: usize) {
        self.lines.push(line);
        self.bytes += bytes;
    }

    /// The row that lacks fields, if reading ended at one: what is there of it is judged by the server first.
    pub fn take_broken(&mut self) -> Option<Box<Batch>> {
        self.broken.take()
    }

    /// The row that has not ended lacks its other fields.
    pub(super) fn break_row(&mut self, line: u64) {
        let rows = self.lines.len();
        let mut broken = Self::new(self.columns.len(), 1, 0);
        for (column, whole) in broken.columns.iter_mut().zip(&self.columns) {
            column.open();
            match (Elements { data: &whole.data, at: whole.last }).next().filter(|_| whole.count > rows) {
                Some(Element { value: Some(value), .. }) => {
                    column.data().extend_from_slice(value);
                    column.close();
                }
                Some(Element { value: None, .. }) | None => column.close_null(),
            }
        }
        broken.end_row(line, 0);
        self.broken = Some(Box::new(broken));
    }

    /// Takes back the values of a row that has not ended.
    pub(super) fn abandon_row(&mut self) {
        let rows = self.lines.len();
        for column in self.columns.iter_mut().filter(|column| column.count > rows || column.is_open()) {
            column.data.truncate(column.last);
            column.count = rows;
        }
    }
}

impl Column {
    /// A value begins; its bytes are pushed to what is returned.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        self.last = self.data.len();
        self.data.extend_from_slice(&OPEN);
        &mut self.data
    }

    pub(super) fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// What was pushed of the value so far.
    pub(super) fn value(&self) -> &[u8] {
        &self.data[self.last + 4..]
    }

    pub(super) fn close(&mut self) {
        let length = (self.data.len() - self.last - 4) as u32;
        self.data[self.last..self.last + 4].copy_from_slice(&length.to_be_bytes());
        self.count += 1;
    }

    pub(super) fn close_null(&mut self) {
        self.data.truncate(self.last);
        self.data.extend_from_slice(&NULL);
        self.count += 1;
        self.nulls += 1;
    }

    /// The value of a column that has one.
    pub(super) fn only_value(&self) -> Option<&[u8]> {
        Elements { data: &self.data, at: 0 }.next()?.value
    }

    fn is_open(&self) -> bool {
        self.data.get(self.last..self.last + 4).is_some_and(|length| length == OPEN)
    }
}

/// The length of NULL, and of a value that is not complete.
const NULL: [u8; 4] = (-1i32).to_be_bytes();
const OPEN: [u8; 4] = (-2i32).to_be_bytes();

/// See [`Batch::elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    data: &'a [u8],
    at: usize,
}

/// One value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its place in the column's data, its length included.
    pub range: Range<usize>,
    /// `None` is NULL.
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let length = *self.data.get(self.at..)?.first_chunk::<4>()?;
        let (start, body) = (self.at, self.at + 4);
        let value = match usize::try_from(i32::from_be_bytes(length)) {
            Ok(length) => Some(self.data.get(body..body + length)?),
            Err(_) => None,
        };
        self.at = body + value.map_or(0, <[u8]>::len);
        Some(Element { range: start..self.at, value })
    }
}
