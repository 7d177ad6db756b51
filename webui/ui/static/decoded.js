// What a file or an address shows, as this browser sees it: upright, whatever a camera has noted about how it was held.

const MOST_PIXELS = 100_000_000; // more are not opened here before the program has said that it takes them
const LONGEST_SIDE = 16384;

/** {url, width, height, image, release}, or null where this browser cannot show it or had better not try. `source`: a Blob or an address. */
export async function opened(source) {
  const kept = source instanceof Blob ? source : source.startsWith("blob:") ? await fetched(source, "") : null; // another may take its address back
  const own = kept !== null;
  const url = own ? URL.createObjectURL(kept) : source;
  const release = () => own && URL.revokeObjectURL(url);
  const image = new Image();
  image.decoding = "async";
  const loaded = new Promise((resolve) => {
    image.onload = () => resolve(true); // its size is known, its pixels are not decoded yet
    image.onerror = () => resolve(false);
  });
  image.src = url;
  const { naturalWidth: width, naturalHeight: height } = (await loaded) ? image : {};
  if (width && width * height <= MOST_PIXELS && Math.max(width, height) <= LONGEST_SIDE) return { url, width, height, image, release };
  release();
  return null;
}

/** The bytes behind an address of this site, as a file; null where there are none. */
export async function fetched(address, name) {
  const response = await fetch(address, { credentials: "same-origin" }).catch(() => null);
  if (!response?.ok) return null;
  const content = await response.blob();
  return new File([content], name, { type: content.type });
}
