//! Reads one answer after the other from the bytes of a connection: status 200, `Content-Length`, and so many bytes.

/// No server that is measured has a longer head.
const MAX_HEAD: usize = 64 * 1024;

/// How far the answer has come in.
#[derive(Default)]
pub(crate) struct Answer {
    /// The head, as far as it is there.
    head: Vec<u8>,
    /// How much of the body is missing, once the head is whole.
    left: Option<usize>,
}

impl Answer {
    /// Takes what was read, and says whether the answer is whole. Then it is ready for the next one.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let left = match self.left {
            Some(left) => left.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = end_of_head(&self.head) else {
                    return if self.head.len() > MAX_HEAD {
                        Err("no end of the head".into())
                    } else {
                        Ok(false)
                    };
                };
                content_length(&self.head[..end])?.checked_sub(self.head.len() - end)
            }
        };
        let left = left.ok_or("more than the answer came")?;
        self.head.clear();
        self.left = (left > 0).then_some(left);
        Ok(left == 0)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The length of the body that this head announces.
fn content_length(head: &[u8]) -> Result<usize, String> {
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("not a 200: {}", String::from_utf8_lossy(&head[..head.len().min(40)])));
    }
    let name = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
    let value = line.and_then(|line| std::str::from_utf8(&line[name.len()..]).ok());
    value.and_then(|value| value.trim().parse().ok()).ok_or_else(|| "no Content-Length".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn an_answer_is_whole_with_its_last_byte_wherever_it_is_cut() {
        for cut in 1..ANSWER.len() {
            let mut answer = Answer::default();
            for _ in 0..2 {
                assert_eq!(answer.feed(&ANSWER[..cut]), Ok(false), "cut at {cut}");
                assert_eq!(answer.feed(&ANSWER[cut..]), Ok(true), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_such_answer_is_an_error() {
        assert!(Answer::default().feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(Answer::default().feed(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Answer::default().feed(&[ANSWER, b"d"].concat()).is_err());
    }
}
