//! x
use residuum_data::*;
fn main(){ for (s,n) in [(Split::Train,"train"),(Split::Test,"test")]{ let d=shapes(0,s); let mut v=Vec::new(); for i in 0..d.len(){v.extend(d.image(i).unwrap().into_pixels())} std::fs::write(format!("/tmp/shapes_{n}.bin"),v).unwrap(); }}
