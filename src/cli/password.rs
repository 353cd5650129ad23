//! Reading a password: twice without echo on a terminal, one line of standard input otherwise.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::config::Secret;

/// Longest password, in bytes: as long as the configuration and the login accept.
const LENGTH_MAX: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read the password: {0}")]
    Io(#[from] io::Error),
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {LENGTH_MAX} bytes")]
    Long,
    #[error("the password holds a NUL byte or is not UTF-8")]
    Characters,
    #[error("the two passwords differ")]
    Differ,
    #[error("interrupted")]
    Interrupted,
}

/// A password from standard input.
pub(super) fn read() -> Result<Secret, ReadError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return piped(stdin.lock());
    }
    let raw = Quiet::start(&stdin)?;
    let first = typed(&mut stdin.lock(), "Password: ")?;
    let second = typed(&mut stdin.lock(), "Again: ")?;
    drop(raw);
    if first == second { checked(first) } else { Err(ReadError::Differ) }
}

/// One line, without its end.
fn piped(input: impl BufRead) -> Result<Secret, ReadError> {
    let mut line = Vec::new();
    input.take(LENGTH_MAX as u64 + 3).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    checked(line)
}

fn checked(password: Vec<u8>) -> Result<Secret, ReadError> {
    if password.is_empty() {
        return Err(ReadError::Empty);
    }
    if password.len() > LENGTH_MAX {
        return Err(ReadError::Long);
    }
    match String::from_utf8(password) {
        Ok(password) if !password.contains('\0') => Ok(Secret::new(password)),
        Ok(_) | Err(_) => Err(ReadError::Characters),
    }
}

/// Reads keys up to Enter from a terminal that does nothing with them itself.
fn typed(keys: &mut impl Read, prompt: &str) -> Result<Vec<u8>, ReadError> {
    let mut screen = io::stderr();
    screen.write_all(prompt.as_bytes())?;
    screen.flush()?;
    let read = line_of_keys(keys);
    screen.write_all(b"\n")?;
    read
}

fn line_of_keys(keys: &mut impl Read) -> Result<Vec<u8>, ReadError> {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const CTRL_U: u8 = 0x15;
    const CTRL_BACKSLASH: u8 = 0x1c;
    const DELETE: u8 = 0x7f;

    let mut line: Vec<u8> = Vec::new();
    loop {
        let mut key = [0];
        if keys.read(&mut key)? == 0 {
            return Ok(line);
        }
        match key[0] {
            b'\r' | b'\n' | CTRL_D => return Ok(line),
            CTRL_C | CTRL_BACKSLASH => return Err(ReadError::Interrupted),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // A character of UTF-8 is a first byte and up to three that begin with the bits 10.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() <= LENGTH_MAX => line.push(byte),
            _ => {}
        }
    }
}

/// The terminal without echo, line editing and signals, so that no way out of here leaves it so; put back when dropped.
struct Quiet<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn start(terminal: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing is left to do where the terminal is gone.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_piped(input: &[u8]) -> Result<String, String> {
        piped(input).map(|password| password.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_piped_password_is_one_line() {
        assert_eq!(read_piped(b"secret"), Ok("secret".to_owned()));
        assert_eq!(read_piped(b"secret\n"), Ok("secret".to_owned()));
        assert_eq!(read_piped(b"secret\r\nmore"), Ok("secret".to_owned()));
        assert_eq!(read_piped(" sp\u{e4}ce \n".as_bytes()), Ok(" sp\u{e4}ce ".to_owned()));
        assert_eq!(read_piped(&[b'x'; 1000]), Ok("x".repeat(1000)));
        assert_eq!(read_piped(b""), Err("the password is empty".to_owned()));
        assert_eq!(read_piped(b"\n"), Err("the password is empty".to_owned()));
        assert_eq!(read_piped(&[b'x'; 1001]), Err("the password is longer than 1000 bytes".to_owned()));
        assert!(read_piped(b"a\0b").is_err_and(|error| error.contains("NUL")));
        assert!(read_piped(b"\xff").is_err_and(|error| error.contains("UTF-8")));
    }

    #[test]
    fn keys_edit_the_line() {
        let line = |keys: &[u8]| line_of_keys(&mut &*keys).map_err(|error| error.to_string());
        assert_eq!(line(b"abc\rrest"), Ok(b"abc".to_vec()));
        assert_eq!(line(b"abx\x7fc\n"), Ok(b"abc".to_vec()));
        assert_eq!(line("a\u{20ac}\x7fb\n".as_bytes()), Ok(b"ab".to_vec()));
        assert_eq!(line(b"\x7f\x08ab\n"), Ok(b"ab".to_vec()));
        assert_eq!(line(b"wrong\x15abc\x04"), Ok(b"abc".to_vec()));
        assert_eq!(line(b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(line(b"abc\x03"), Err("interrupted".to_owned()));
        assert_eq!(line(&[b'x'; 5000]).map(|line| line.len()), Ok(1001));
    }
}
