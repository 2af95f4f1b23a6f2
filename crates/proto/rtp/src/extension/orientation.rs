use super::Extension;

/// How a picture has to be turned to be upright (3GPP TS 26.114, "coordination of video orientation").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct VideoOrientation {
    /// Quarter turns clockwise that the receiver has to make: 0 to 3.
    pub quarter_turns: u8,
    /// Whether it has to be mirrored after that.
    pub flipped: bool,
    /// Whether it comes from the camera on the back.
    pub back_camera: bool,
}

impl Extension<'_> for VideoOrientation {
    const URI: &'static str = "urn:3gpp:video-orientation";

    fn read(value: &[u8]) -> Option<Self> {
        let byte = *value.first()?;
        Some(Self { quarter_turns: byte & 3, flipped: byte & 4 != 0, back_camera: byte & 8 != 0 })
    }

    fn write(&self, place: &mut [u8; 255]) -> usize {
        place[0] = self.quarter_turns & 3 | u8::from(self.flipped) << 2 | u8::from(self.back_camera) << 3;
        1
    }
}
