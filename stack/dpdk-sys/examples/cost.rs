//! cost
use dpdk_sys::eal::*; use dpdk_sys::*; use std::time::Instant; use std::ptr::NonNull;
fn main(){
 let t=Instant::now(); let d=start(&EalConfig{memory_mb:64,hugepages:Hugepages::Never,..Default::default()}).unwrap(); println!("eal {:?}",t.elapsed());
 let run=|pool:&mut Pool|{ let n=2_000_000; let t=Instant::now(); for _ in 0..n { let f=pool.alloc().unwrap(); unsafe{d.free(NonNull::new(f.mbuf).unwrap())} } println!("alloc+free {:?}",t.elapsed()/n);
 let mut v=vec![]; let t=Instant::now(); for _ in 0..1000 { for _ in 0..1000 {v.push(pool.alloc().unwrap().mbuf);} for m in v.drain(..) { unsafe{d.free(NonNull::new(m).unwrap())} } } println!("1000 alloc, 1000 free {:?} a pair",t.elapsed()/1_000_000);
 let t=Instant::now(); for _ in 0..100000 { std::hint::black_box(pool.available()); } println!("available {:?}",t.elapsed()/100000); };
 let mut pool=Pool::create(d,8191,1770,Layout::Dense).unwrap(); run(&mut pool);
 println!("other thread"); std::thread::spawn(move || run(&mut pool)).join().unwrap();
 let port=Port::create(d,"net_ring_x","").unwrap(); let pool=Pool::create(d,8191,1770,Layout::Dense).unwrap();
 let mut q=port.start(&PortConfig{mtu:1500,rx_descriptors:512,tx_descriptors:512,capabilities:Capabilities::default(),interrupts:false},vec![pool]).unwrap().remove(0);
 let t=Instant::now(); let mut fr=[Frame::default();32]; for _ in 0..100000 { for f in fr.iter_mut(){ *f=q.alloc().unwrap(); f.len=64;} unsafe{q.tx_burst(&fr)}; let n=q.rx_burst(&mut fr); assert_eq!(n,32); for f in &fr { unsafe{d.free(NonNull::new(f.mbuf).unwrap())} } } println!("alloc tx rx free per frame {:?}",t.elapsed()/3_200_000);
 let t=Instant::now(); for _ in 0..1000000 { std::hint::black_box(q.rx_burst(&mut fr)); } println!("empty burst {:?}",t.elapsed()/1_000_000);
}
