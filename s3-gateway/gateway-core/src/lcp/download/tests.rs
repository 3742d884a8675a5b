use super::*;

#[test]
fn a_part_of_slices_is_the_part_of_the_whole() {
    let slices = [&b"abc"[..], b"", b"defgh"].map(Bytes::from_static);
    let whole = slices.concat();
    for start in 0..=whole.len() {
        for end in start..=whole.len() {
            let found = part(slices.clone(), start as u64..end as u64).concat();
            assert_eq!(found, whole[start..end], "{start}..{end}");
        }
    }
}
