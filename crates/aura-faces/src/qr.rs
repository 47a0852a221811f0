//! An invite as a QR code in a terminal.
//!
//! Invariants:
//! - the code holds the token and nothing else, in capitals, which tokens are read in as well and codes hold in less room;
//! - it is drawn whole, with the margin that readers want, or not at all.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use crate::output::View;

/// Modules of margin on each side, of the standard.
const MARGIN: usize = 4;
/// Black on white, whatever the colours of the terminal are.
const COLORS: (&str, &str) = ("\x1b[30;107m", "\x1b[0m");

/// Draws a token for whoever looks at standard output; else says why not.
pub(crate) fn drawn(token: &str, view: &View) -> Result<String, String> {
    if !view.fitted {
        return Err("no QR code: this is no terminal".to_owned());
    }
    if view.ascii {
        return Err("no QR code: the locale is not UTF-8".to_owned());
    }
    // A screen is not scratched: what is lost to correction is better spent on larger modules.
    let code = QrCode::with_error_correction_level(token.to_uppercase(), EcLevel::L)
        .map_err(|_| "no QR code: the token is too long for one".to_owned())?;
    let columns = code.width() + 2 * MARGIN;
    if view.columns < columns {
        return Err(format!(
            "no QR code: it takes {columns} columns, and here are {}",
            view.columns
        ));
    }
    let mut renderer = code.render::<Dense1x2>();
    if !view.colored {
        // Terminals are mostly light on dark: there the blocks are the light ones.
        renderer
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark);
    }
    let (before, after) = if view.colored { COLORS } else { ("", "") };
    let image = renderer.build();
    let lines = image.lines();
    Ok(lines
        .map(|line| format!("{before}{line}{after}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn view(columns: usize, colored: bool) -> View {
        View {
            now: "2026-11-20T13:05:11Z".parse().unwrap(),
            colored,
            ascii: false,
            fitted: true,
            columns,
        }
    }

    /// About as long as a token of a Mothership with one address.
    fn token() -> String {
        format!("ms1-{}-9d", "c7q2wab5".repeat(122))
    }

    /// The pixels of a drawing, `true` where it is dark, in rows.
    fn pixels(drawing: &str, is_block_dark: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawing.lines() {
            let line = line.trim_start_matches(COLORS.0).trim_end_matches(COLORS.1);
            for signs in [['█', '▀'], ['█', '▄']] {
                let row = line
                    .chars()
                    .map(|sign| signs.contains(&sign) == is_block_dark);
                rows.push(row.collect());
            }
        }
        rows
    }

    fn scanned(pixels: &[Vec<bool>]) -> String {
        /// Screen pixels of one module.
        const SCALE: usize = 3;
        let (width, height) = (pixels[0].len() * SCALE, pixels.len() * SCALE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            if pixels[y / SCALE][x / SCALE] { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn c38_a_reader_finds_the_token_on_light_and_on_dark_screens() {
        for colored in [true, false] {
            let drawing = drawn(&token(), &view(120, colored)).unwrap();
            let pixels = pixels(&drawing, colored);
            assert_eq!(scanned(&pixels), token().to_uppercase());
        }
    }

    #[test]
    fn the_drawing_is_as_wide_as_it_says_and_its_margin_is_light() {
        let wide = drawn(&token(), &view(97, false)).unwrap();
        let pixels = pixels(&wide, false);
        assert!(pixels.iter().all(|row| row.len() == 97));
        let is_margin = |at: usize| !(MARGIN..97 - MARGIN).contains(&at);
        for (y, row) in pixels.iter().enumerate().take(97) {
            for (x, is_dark) in row.iter().enumerate() {
                assert!(!(*is_dark && (is_margin(x) || is_margin(y))), "{x} {y}");
            }
        }
        assert_eq!(
            drawn(&token(), &view(96, false)).unwrap_err(),
            "no QR code: it takes 97 columns, and here are 96"
        );
    }

    #[test]
    fn nothing_is_drawn_where_nobody_could_read_it() {
        let piped = View {
            fitted: false,
            ..view(200, false)
        };
        let ascii = View {
            ascii: true,
            ..view(200, false)
        };
        let long = "a".repeat(5_000);
        for refused in [
            drawn(&token(), &piped),
            drawn(&token(), &ascii),
            drawn(&long, &view(500, false)),
        ] {
            assert!(refused.unwrap_err().starts_with("no QR code: "));
        }
    }
}
