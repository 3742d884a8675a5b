use super::*;
use proptest::prelude::*;

fn bytes_of(buffer: &WriteBuffer, range: Range<u64>) -> Vec<u8> {
    let mut out = vec![0; (range.end - range.start) as usize];
    for (at, patch) in buffer.overlay(range.clone()) {
        let Patch::Bytes(bytes) = patch else { panic!("nothing is written in these tests") };
        let at = (at - range.start) as usize;
        out[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    out
}

#[test]
fn sequential_writes_make_one_run_and_full_pieces() {
    let mut buffer = WriteBuffer::default();
    let block = vec![7u8; 1 << 20];
    let mut full = 0;
    for i in 0..9u64 {
        let done = buffer.write(i << 20, &block);
        assert_eq!(done.replaced, 0);
        full += done.full.len();
    }
    assert_eq!((full, buffer.run_count(), buffer.end()), (2, 3, 9 << 20));
    assert_eq!(buffer.seal().iter().map(|piece| piece.len).collect::<Vec<_>>(), [1 << 20]);
}

#[test]
fn scattered_writes_are_packed_into_one_piece() {
    let mut buffer = WriteBuffer::default();
    for i in 0..100u64 {
        buffer.write(i * 10_000, &[i as u8; 100]);
    }
    let pieces = buffer.seal();
    assert_eq!((pieces.len(), pieces[0].len), (1, 10_000));
    let runs = buffer.sealed();
    assert_eq!((runs.len(), runs[7].start, runs[7].offset), (100, 70_000, 700));
    assert_eq!(bytes_of(&buffer, 70_050..70_060), [7; 10]);
}

#[test]
fn a_write_over_a_sealed_run_stays_dirty_when_the_piece_is_committed() {
    let mut buffer = WriteBuffer::default();
    buffer.write(0, &[1; 100]);
    let sealed = buffer.seal();
    buffer.write(50, &[2; 10]);
    buffer.committed(&HashSet::from([sealed[0].id]));
    assert_eq!((buffer.run_count(), buffer.end(), buffer.is_all_dirty()), (1, 60, true));
}

#[test]
fn an_append_stream_continues_while_its_head_is_committed() {
    let mut buffer = WriteBuffer::default();
    buffer.append(&[1; 100]);
    let sealed = buffer.seal();
    buffer.append(&[2; 20]);
    assert_eq!(buffer.append_len(), 120);
    buffer.committed(&HashSet::from([sealed[0].id]));
    assert_eq!(buffer.append_len(), 20);
    let second = buffer.seal();
    assert_eq!(buffer.sealed()[0].start, 0);
    buffer.committed(&HashSet::from([second[0].id]));
    assert!(buffer.is_empty() && !buffer.is_append());
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize, u8),
    Cut(u64),
    Seal,
    CommitFirst,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..400u64, 1..80usize, 1..=255u8).prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
        1 => (0..400u64).prop_map(Step::Cut),
        1 => Just(Step::Seal),
        1 => Just(Step::CommitFirst),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// The buffer over what was committed always equals a plain array, and the dirty bytes are counted right.
    #[test]
    fn equals_a_plain_array(steps in steps()) {
        const SIZE: usize = 480;
        let mut buffer = WriteBuffer::default();
        let (mut model, mut server) = (vec![0u8; SIZE], vec![0u8; SIZE]);
        let (mut pieces, mut taken) = (Vec::new(), 0usize);
        for step in steps {
            match step {
                Step::Write(at, len, byte) => {
                    taken += len;
                    taken -= buffer.write(at, &vec![byte; len]).replaced;
                    model[at as usize..at as usize + len].fill(byte);
                }
                Step::Cut(size) => {
                    taken -= buffer.cut(size);
                    model[size as usize..].fill(0);
                    server[size as usize..].fill(0);
                }
                Step::Seal => {
                    let sealed = buffer.seal();
                    taken -= sealed.iter().map(|piece| piece.len).sum::<usize>();
                    pieces.extend(sealed);
                }
                Step::CommitFirst => {
                    if pieces.is_empty() { continue }
                    let piece = pieces.remove(0);
                    let data = piece.data().expect("in memory");
                    for run in buffer.sealed().into_iter().filter(|run| run.piece.id == piece.id) {
                        let from = run.offset as usize;
                        server[run.start as usize..][..run.len as usize].copy_from_slice(&data[from..][..run.len as usize]);
                    }
                    buffer.committed(&HashSet::from([piece.id]));
                }
            }
            prop_assert_eq!(taken, buffer.dirty);
            let mut seen = server.clone();
            for (at, patch) in buffer.overlay(0..SIZE as u64) {
                let Patch::Bytes(bytes) = patch else { panic!("nothing is written") };
                seen[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(&seen, &model);
        }
    }
}
