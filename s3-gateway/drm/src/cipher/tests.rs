use super::*;
use proptest::prelude::*;

/// Gives the bytes 0, 1, 2 and so on, each time from the beginning.
pub(crate) struct Counting;

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
    }
}

fn key() -> [u8; KEY_BYTES] {
    std::array::from_fn(|i| i as u8)
}

#[test]
fn the_vector_of_a_resource() {
    let hello = encrypt(&key(), b"hello", &mut Counting);
    assert_eq!(hex::encode(&hello), "000102030405060708090a0b0c0d0e0f7fd12dafb7e9599d0b849ad8c2e3c21f");
    assert_eq!(decrypt(&key(), &hello).expect("the same key").as_slice(), b"hello");
}

#[test]
fn only_the_last_byte_of_a_padding_counts() {
    let mut cbc = cbc::Encryptor::<Aes256>::new(&key().into(), &[9; 16].into());
    let mut block = *b"hello, 9 9 9 9 \x09";
    let (blocks, _) = cbc::cipher::Array::slice_as_chunks_mut(&mut block);
    cbc.encrypt_blocks(blocks);
    assert_eq!(decrypt(&key(), &[&[9; 16][..], &block].concat()).expect("ends in nine").as_slice(), b"hello, ");
}

#[test]
fn what_is_no_ciphertext_is_refused() {
    for bytes in [0, 1, 15, 16, 17, 31, 33] {
        assert_eq!(decrypt(&key(), &vec![7; bytes]).err(), Some(BadCiphertext), "{bytes}");
    }
    for last in [0, 17, 255] {
        let mut cbc = cbc::Encryptor::<Aes256>::new(&key().into(), &[9; 16].into());
        let mut block = [last; 16];
        let (blocks, _) = cbc::cipher::Array::slice_as_chunks_mut(&mut block);
        cbc.encrypt_blocks(blocks);
        assert_eq!(decrypt(&key(), &[&[9; 16][..], &block].concat()).err(), Some(BadCiphertext), "{last}");
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_come_back(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 0..8), cut in 1usize..60) {
        let plain = pieces.concat();
        let mut ciphertext = Vec::new();
        let mut encryptor = Encryptor::new(&key(), &mut Counting, &mut ciphertext);
        pieces.iter().for_each(|piece| encryptor.update(piece, &mut ciphertext));
        encryptor.finish(&mut ciphertext);
        prop_assert_eq!(ciphertext.len() as u64, ciphertext_bytes(plain.len() as u64));
        prop_assert_eq!(&ciphertext, &encrypt(&key(), &plain, &mut Counting));
        let mut back = Vec::new();
        let mut decryptor = Decryptor::new(&key());
        ciphertext.chunks(cut).for_each(|piece| decryptor.update(piece, &mut back));
        prop_assert_eq!(decryptor.finish(&mut back), Ok(()));
        prop_assert_eq!(back, plain);
    }
}
