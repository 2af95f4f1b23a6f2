//! A link as a QR code, for the camera of a phone.

use qrcode::{Color, EcLevel, QrCode};

/// The code in half blocks, with the quiet border that readers need. `None` if the text is too long for one.
///
/// Dark modules are printed as gaps on a light ground: most terminals are dark, and readers cope with both.
pub(crate) fn draw(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = i32::try_from(code.width()).ok()?;
    let colors = code.to_colors();
    let border = 2;
    let light = |x: i32, y: i32| {
        let inside = (0..width).contains(&x) && (0..width).contains(&y);
        !inside || colors[(y * width + x) as usize] == Color::Light
    };
    let mut drawing = String::new();
    for y in (-border..width + border).step_by(2) {
        for x in -border..width + border {
            // Below the last row of an odd number of rows there is nothing.
            let below = y + 1 < width + border && light(x, y + 1);
            drawing.push(match (light(x, y), below) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        drawing.push('\n');
    }
    Some(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_becomes_a_square() {
        let drawing = draw("http://127.0.0.1:8080/#AAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let lines: Vec<_> = drawing.lines().collect();
        let width = lines[0].chars().count();
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(lines[0].chars().all(|c| c == '█'), "the border is light");
        assert!(draw(&"x".repeat(5000)).is_none());
    }
}
