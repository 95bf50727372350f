//! `X-Magento-Tags-Pattern`: a regular expression, of which Magento sends two forms only.

use crate::proxy::selection::Wanted;

/// `.*` is everything; `((^|,)TAG(,|$))|((^|,)TAG(,|$))` is those tags. Anything else is not understood.
pub(super) fn wanted(pattern: &str) -> Option<Vec<Wanted>> {
    if pattern.trim() == ".*" {
        return Some(vec![Wanted::Everything]);
    }
    let mut tags = Vec::new();
    let mut rest = pattern.trim();
    loop {
        let (tag, after) = rest.strip_prefix("((^|,)")?.split_once("(,|$))")?;
        let plain = !tag.is_empty() && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_-:".contains(c));
        tags.push(Wanted::Tag(plain.then(|| tag.to_owned())?));
        if after.is_empty() {
            return Some(tags);
        }
        rest = after.strip_prefix('|')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_two_forms_that_magento_sends_are_understood() {
        assert_eq!(wanted(".*"), Some(vec![Wanted::Everything]));
        let tag = |name: &str| Wanted::Tag(name.to_owned());
        assert_eq!(wanted("((^|,)cat_p_7(,|$))|((^|,)cat_p(,|$))"), Some(vec![tag("cat_p_7"), tag("cat_p")]));
        for other in ["", "cat_p", "((^|,)cat.*(,|$))", "((^|,)a(,|$))|", "((^|,)a(,|$))b", "((^|,)(,|$))"] {
            assert_eq!(wanted(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[(^|,$).*a-c]{0,30}") {
            let _ = wanted(&text);
        }
    }
}
