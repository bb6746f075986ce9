/**
 * Draws QR codes as SVG and as a PNG data URL. A PNG with one bit per pixel is drawn here because it
 * costs a tenth of the `qrcode` package's own renderer.
 */
import { crc32, deflateSync } from 'node:zlib'
import qrcode from 'qrcode'

/** A QR code in the two forms a page can show. */
export interface QrCode {
  /** `data:image/png;base64,…` */
  readonly dataUrl: string
  /** A complete SVG document. */
  readonly svg: string
}

/** White modules around the code. @see ISO/IEC 18004, section 5.3.8 */
const QUIET = 4
/** PNG pixels per module. */
const SCALE = 5

/** Draws a text with error correction level M. */
export function drawQr(text: string): QrCode {
  const { size, data } = qrcode.create(text, { errorCorrectionLevel: 'M' }).modules
  const isDark = (x: number, y: number): boolean => data[y * size + x] === 1
  const png = encodePng(size, isDark).toString('base64')
  return { dataUrl: `data:image/png;base64,${png}`, svg: encodeSvg(size, isDark) }
}

type IsDark = (x: number, y: number) => boolean

function encodeSvg(size: number, isDark: IsDark): string {
  let path = ''
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const start = x
      while (x < size && isDark(x, y)) x++
      if (x > start) path += `M${start + QUIET} ${y + QUIET}h${x - start}v1h-${x - start}z`
    }
  }
  const side = size + 2 * QUIET
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${side} ${side}" shape-rendering="crispEdges">` +
    `<path fill="#fff" d="M0 0h${side}v${side}H0z"/><path d="${path}"/></svg>`
  )
}

/** Greyscale with bit depth 1; a set bit is white. @see RFC 2083 */
function encodePng(size: number, isDark: IsDark): Buffer {
  const side = (size + 2 * QUIET) * SCALE
  const rowBytes = 1 + Math.ceil(side / 8)
  const pixels = Buffer.alloc(rowBytes * side, 0xff)
  for (let row = 0; row < side; row++) {
    const start = row * rowBytes
    // Filter type 0: the row is stored as it is.
    pixels[start] = 0
    const y = Math.floor(row / SCALE) - QUIET
    if (y < 0 || y >= size) continue
    for (let column = QUIET * SCALE; column < side - QUIET * SCALE; column++) {
      const at = start + 1 + (column >> 3)
      if (isDark(Math.floor(column / SCALE) - QUIET, y)) pixels[at]! &= ~(0x80 >> (column & 7))
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(side, 0)
  header.writeUInt32BE(side, 4)
  header[8] = 1
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc32(body), body.length + 4)
  return framed
}
