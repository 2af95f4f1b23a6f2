//! The OpaqueString profile: how usernames, realms and passwords are written, so that the same characters are the same bytes
//! wherever they were typed (RFC 8265 §4.2).

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_public_assigned};

/// A text as the OpaqueString profile has it (RFC 8265 §4.2.2): spaces of all kinds become U+0020, and what can be composed is
/// (NFC). Printable ASCII is given back as it is.
///
/// # Errors
/// If it is empty, or has characters that are none of a name or a password: control characters, invisible ones, code points
/// that nobody has assigned (the FreeformClass of RFC 8264 §4.3).
///
/// ```
/// use sterna_stun::opaque_string;
///
/// assert_eq!(opaque_string("zwo\u{308}lf\u{a0}Uhr").unwrap(), "zwölf Uhr");
/// assert!(opaque_string("pass\n").is_err());
/// ```
pub fn opaque_string(text: &str) -> Result<Cow<'_, str>, NotOpaque> {
    if text.is_empty() {
        return Err(NotOpaque::Empty);
    }
    if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return Ok(Cow::Borrowed(text));
    }
    check(text)?;
    let spaced = |character| if is_space(character) { ' ' } else { character };
    let composed: String = text.chars().map(spaced).nfc().collect();
    // A few characters become others that have their place: what is prepared once is prepared for good.
    check(&composed)?;
    Ok(Cow::Owned(composed))
}

fn check(text: &str) -> Result<(), NotOpaque> {
    let mut before = None;
    for (at, character) in text.char_indices() {
        if !is_allowed(text, at, before, character) {
            return Err(NotOpaque::Character(character));
        }
        before = Some(character);
    }
    Ok(())
}

/// What keys and names are made from: the text as [`opaque_string`] has it. A text that it refuses is used as it is: so do
/// browsers with every text, and a server that refuses it says so.
pub(crate) fn prepared(text: &str) -> Cow<'_, str> {
    opaque_string(text).unwrap_or(Cow::Borrowed(text))
}

/// A text is no OpaqueString.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotOpaque {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It has a character that does not belong there.
    #[error("the character U+{:04X} does not belong there (RFC 8265)", u32::from(*.0))]
    Character(char),
}

/// Whether a character may stand in FreeformClass (RFC 8264 §8, in its order), in the place where it stands.
fn is_allowed(text: &str, at: usize, before: Option<char>, character: char) -> bool {
    match character {
        // Exceptions (RFC 5892 §2.6) that are disallowed, whatever else they are.
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => false,
        ' '..='~' => true,
        _ if is_contextual(character) => fits_context(text, at, before, character),
        _ => {
            is_public_assigned(character)
                && !character.is_control()
                && !is_old_jamo(character)
                && !is_ignorable(character)
                && !is_format(character)
        }
    }
}

/// Zs, the spaces (RFC 8264 §9.14).
fn is_space(character: char) -> bool {
    matches!(
        character,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Hangul_Syllable_Type L, V or T (RFC 8264 §9.9).
fn is_old_jamo(character: char) -> bool {
    matches!(
        character,
        '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7c6}' | '\u{d7cb}'..='\u{d7fb}'
    )
}

/// Default_Ignorable_Code_Point or Noncharacter_Code_Point (RFC 8264 §9.13).
fn is_ignorable(character: char) -> bool {
    let noncharacter = u32::from(character) & 0xfffe == 0xfffe;
    noncharacter
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What is left of Cf, Zl and Zp, which are in none of the allowed categories.
fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{2028}'
            | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
    )
}

/// CONTEXTJ and CONTEXTO (RFC 5892 §2.6, §2.8).
fn is_contextual(character: char) -> bool {
    matches!(
        character,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}'
            | '\u{200c}' | '\u{200d}' | '\u{30fb}'
    )
}

/// The rules of RFC 5892, appendix A.
fn fits_context(text: &str, at: usize, before: Option<char>, character: char) -> bool {
    const VIRAMA: u8 = 9;
    let after = text[at..].chars().nth(1);
    let virama = before.is_some_and(|before| canonical_combining_class(before) == VIRAMA);
    match character {
        // The joining types of the letters around are not in our tables: between two letters of a script that joins.
        '\u{200c}' => virama || before.is_some_and(is_joining) && after.is_some_and(is_joining),
        '\u{200d}' => virama,
        '\u{b7}' => (before, after) == (Some('l'), Some('l')),
        '\u{375}' => {
            after.is_some_and(|after| matches!(after, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}'))
        }
        '\u{5f3}' | '\u{5f4}' => {
            before.is_some_and(|before| matches!(before, '\u{591}'..='\u{5f4}' | '\u{fb1d}'..='\u{fb4f}'))
        }
        '\u{660}'..='\u{669}' => !text.contains(|other| matches!(other, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !text.contains(|other| matches!(other, '\u{660}'..='\u{669}')),
        _ => text.contains(is_kana_or_han),
    }
}

/// Letters that take another shape beside others: Arabic, Syriac, N'Ko, Mandaic, Mongolian, Phags-pa, Adlam and others.
fn is_joining(character: char) -> bool {
    let scripts = matches!(
        character,
        '\u{620}'..='\u{8ff}' | '\u{1807}'..='\u{18aa}' | '\u{a840}'..='\u{a873}' | '\u{10ac0}'..='\u{10aef}'
            | '\u{10b80}'..='\u{10baf}' | '\u{10d00}'..='\u{10d23}' | '\u{10f30}'..='\u{10fcb}'
            | '\u{1e900}'..='\u{1e94b}'
    );
    scripts && (character.is_alphabetic() || canonical_combining_class(character) > 0)
}

fn is_kana_or_han(character: char) -> bool {
    matches!(
        character,
        '\u{2e80}'..='\u{2fd5}' | '\u{3005}' | '\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3038}'..='\u{303a}'
            | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fd}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{fad9}'
            | '\u{ff66}'..='\u{ff9d}' | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_refused(text: &str) -> bool {
        opaque_string(text).is_err()
    }

    // The table of RFC 8265 §4.3.
    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        for same in ["correct horse battery staple", "Correct Horse Battery Staple", "πßå", "Jack of ♦s"]
        {
            assert_eq!(opaque_string(same).unwrap(), same);
        }
        assert_eq!(opaque_string("foo\u{1680}bar").unwrap(), "foo bar");
        assert_eq!(opaque_string(""), Err(NotOpaque::Empty));
        assert_eq!(opaque_string("my cat is a \tby"), Err(NotOpaque::Character('\t')));
    }

    #[test]
    fn ascii_is_not_copied() {
        let all: String = (' '..='~').collect();
        assert!(matches!(opaque_string(&all), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn however_it_was_typed_it_is_the_same() {
        // Composed here, decomposed by macOS; compatibility forms stay what they are (RFC 8265 §4.2.2).
        assert_eq!(opaque_string("Jose\u{301}").unwrap(), opaque_string("Jos\u{e9}").unwrap());
        assert_eq!(opaque_string("\u{212b}").unwrap(), "\u{c5}");
        assert_eq!(opaque_string("\u{2168}\u{aa}").unwrap(), "\u{2168}\u{aa}");
        assert_eq!(opaque_string("a\u{3000}b\u{2003}c").unwrap(), "a b c");
        // RFC 8489 appendix B.1.
        assert_eq!(opaque_string("マトリックス").unwrap(), "マトリックス");
    }

    #[test]
    fn what_nobody_sees_or_has_assigned_is_refused() {
        // The soft hyphen is that of RFC 8489 appendix B.1, which still has a password of SASLprep.
        for bad in ["\0", "\u{7f}", "\u{85}", "\u{ad}", "\u{200b}", "\u{202e}", "\u{2028}", "\u{feff}"] {
            assert!(is_refused(&format!("a{bad}b")), "{bad:?}");
        }
        for bad in
            ["\u{e000}", "\u{378}", "\u{fdd0}", "\u{1ffff}", "\u{1100}", "\u{600}", "\u{640}", "\u{fffa}"]
        {
            assert!(is_refused(&format!("a{bad}b")), "{bad:?}");
        }
    }

    #[test]
    fn some_characters_are_good_beside_others_only() {
        for good in [
            "paral·lel",
            "\u{375}α",
            "א\u{5f3}",
            "カ・ス",
            "\u{660}\u{661}",
            "\u{6f0}\u{6f1}",
            "क\u{94d}\u{200d}ष",
            "می\u{200c}خواهم",
            "क\u{94d}\u{200c}ष",
        ] {
            assert!(!is_refused(good), "{good:?}");
        }
        for bad in [
            "a·l",
            "l·",
            "\u{375}a",
            "\u{387}",
            "a\u{5f3}",
            "a・b",
            "\u{660}\u{6f0}",
            "a\u{200d}b",
            "a\u{200c}b",
            "\u{200c}",
        ] {
            assert!(is_refused(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_prepared_stays_as_it_is(text in "\\PC{0,20}") {
            if let Ok(once) = opaque_string(&text) {
                prop_assert_eq!(opaque_string(&once), Ok(Cow::Borrowed(once.as_ref())));
            }
        }
    }
}
