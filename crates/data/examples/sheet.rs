//! x
use residuum_data::*;
fn main(){ let t=std::time::Instant::now(); let d=shapes(0,Split::Train); eprintln!("{:?}",t.elapsed());
let (c,r)=(20,10); let z=3; let mut buf=image::RgbImage::new((c*34*z) as u32,(r*34*z) as u32);
for row in 0..r{for col in 0..c{ let im=d.image(row + 10*col).unwrap(); for y in 0..32*z{for x in 0..32*z{ let p=&im.pixels()[((y/z)*32+x/z)*3..]; buf.put_pixel((col*34*z+x) as u32,(row*34*z+y) as u32,image::Rgb([p[0],p[1],p[2]]));}}}}
buf.save("/tmp/sheet.png").unwrap(); }
