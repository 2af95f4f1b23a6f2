/// What a payload is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PayloadInfo {
    /// Whether a frame (or a layer's part of one) can start with it. With H.264, H.265 and AV1 it may be in the middle
    /// nevertheless.
    pub starts: bool,
    /// Whether it starts or is part of the start of a picture that needs no other, from which a decoder can begin.
    pub key_frame: bool,
    /// The number of the picture, if the format counts them: modulo 128 or 32,768.
    pub picture_id: Option<u16>,
    /// The layer in time: those above can be left out, and the picture is only less smooth.
    pub temporal_layer: Option<u8>,
    /// The layer in space: those above can be left out, and the picture is only less sharp.
    pub spatial_layer: Option<u8>,
    /// Whether one can go up to this layer in time from here.
    pub layer_sync: bool,
}

impl PayloadInfo {
    /// Of a frame of its own that needs no other: sound.
    pub(super) fn whole() -> Self {
        Self { starts: true, key_frame: true, ..Self::default() }
    }
}
