package cofferdam

import "unicode/utf8"

// AppendJSONText appends text as a JSON string, as most languages write it: quotes, backslashes and
// control characters are escaped and nothing else is (encoding/json escapes what HTML would want).
// Bytes that are no UTF-8 become U+FFFD.
func AppendJSONText(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		// What stays as it is, in one piece.
		begin := i
		for i < len(text) && plain[text[i]] {
			i++
		}
		dst = append(dst, text[begin:i]...)
		if i == len(text) {
			break
		}
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// plain says which bytes are written as they are.
var plain = func() (bytes [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		bytes[c] = c != '"' && c != '\\'
	}
	return bytes
}()
