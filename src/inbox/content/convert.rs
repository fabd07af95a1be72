//! Text in another encoding, as UTF-8 in a file without a name: what is sent when the inbox says `text = "convert"`.

use std::{fs::File, io};

use encoding_rs::DecoderResult;
use rustix::fs::MemfdFlags;

use super::{
    bytes::{Bytes, CHUNK},
    text::TextEncoding,
};
use crate::platform::effect;

/// The text as UTF-8 without a byte order mark, and its size. `None` when its bytes do not fit the encoding.
pub fn to_utf8(file: &File, size: u64, encoding: TextEncoding) -> io::Result<Option<(File, u64)>> {
    let Some(encoding) = encoding.readable() else { return Ok(None) };
    let bytes = Bytes { file, size };
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut converted = File::from(rustix::fs::memfd_create("chartdrop-text", MemfdFlags::CLOEXEC)?);
    let (mut at, mut length) = (0, 0);
    while at < size {
        let chunk = bytes.read(at, CHUNK)?;
        at += chunk.len() as u64;
        let room = decoder.max_utf8_buffer_length_without_replacement(chunk.len()).unwrap_or(CHUNK * 4);
        let mut text = String::with_capacity(room);
        let (result, read) = decoder.decode_to_string_without_replacement(&chunk, &mut text, at == size);
        if result != DecoderResult::InputEmpty || read != chunk.len() || text.contains('\0') {
            return Ok(None);
        }
        effect::write_all(&mut converted, text.as_bytes())?;
        length += text.len() as u64;
    }
    Ok(Some((converted, length)))
}
