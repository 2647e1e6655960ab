package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/crypto/blowfish" //nolint:staticcheck // bcrypt is made of it; what reads the hashes decides that
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
	ascii   = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
)

// stream is a sequence of random numbers. Its bytes are those of ChaCha8Rand (c2sp.org/chacha8rand) and how numbers are made of them is
// decided here, so that no version of Go gives others.
type stream struct {
	source *rand.ChaCha8
	redraw bool
}

// random returns the stream of the template that is executed: a function of the seed and the template's name.
func (r *run) random() *stream {
	r.result.Random = true
	if r.stream == nil {
		h := sha256.New()
		fmt.Fprintf(h, "lockage.dev/random/v1\n%d\n%s%s", len(r.request.Seed), r.request.Seed, r.file)
		r.stream = &stream{rand.NewChaCha8([sha256.Size]byte(h.Sum(nil))), r.request.Redraw}
	}
	return r.stream
}

func (s *stream) bytes(n int) []byte {
	out := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		x := s.source.Uint64()
		if s.redraw {
			x = ^x
		}
		binary.LittleEndian.PutUint64(word[:], x)
		copy(out[i:], word[:])
	}
	return out
}

// below returns a number from 0 to n-1, each as likely as the others.
func (s *stream) below(n uint64) uint64 {
	for bound := -n % n; ; { // 2^64 modulo n
		x := s.source.Uint64()
		switch {
		case x < bound:
		case s.redraw:
			return (x%n + (n+1)/3) % n // neither the same number nor the same letter in another case
		default:
			return x % n
		}
	}
}

// randString returns a function that draws so many characters.
func (r *run) randString(from string) func(count int) string {
	return func(count int) string {
		if count <= 0 {
			return ""
		}
		s := r.random()
		out := make([]byte, count)
		for i := range out {
			out[i] = from[s.below(uint64(len(from)))]
		}
		return string(out)
	}
}

// randBytes returns so many bytes in base64.
func (r *run) randBytes(count int) (string, error) {
	if count < 0 {
		return "", fmt.Errorf("the number of bytes is %d", count)
	}
	return base64.StdEncoding.EncodeToString(r.random().bytes(count)), nil
}

// randInt returns a number from low to high-1.
func (r *run) randInt(low, high int) (int, error) {
	if high <= low {
		return 0, fmt.Errorf("no number is at least %d and less than %d", low, high)
	}
	return low + int(r.random().below(uint64(high-low))), nil //nolint:gosec // less than high-low
}

// shuffle returns the characters of a text in random order.
func (r *run) shuffle(text string) string {
	runes := []rune(text)
	if len(runes) < 2 {
		return text
	}
	s := r.random()
	for i := len(runes) - 1; i > 0; i-- {
		j := s.below(uint64(i) + 1)
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}

func (r *run) uuidv4() string {
	b := r.random().bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562, 5.4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// encryptAES encrypts a text by AES-256 in CBC mode, with the password as the key, as sprig does: decryptAES reads it.
func (r *run) encryptAES(password, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	key := make([]byte, 32)
	copy(key, password)
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	padding := aes.BlockSize - len(text)%aes.BlockSize
	plain := []byte(text + strings.Repeat(string(rune(padding)), padding))
	vector := r.random().bytes(aes.BlockSize)
	cipher.NewCBCEncrypter(block, vector).CryptBlocks(plain, plain)
	return base64.StdEncoding.EncodeToString(append(vector, plain...)), nil
}

// htpasswd returns a line of an htpasswd file.
func (r *run) htpasswd(user, password string) string {
	if strings.Contains(user, ":") {
		return "invalid username: " + user
	}
	return user + ":" + r.bcrypt(password)
}

// bcrypt returns the bcrypt hash of a password, or a message in its place, as sprig does.
func (r *run) bcrypt(password string) string {
	hash, err := bcryptHash(password, r.random().bytes(bcryptSaltBytes))
	if err != nil {
		return "failed to encrypt string with bcrypt: bcrypt: " + err.Error()
	}
	return hash
}

const (
	bcryptCost      = 10
	bcryptSaltBytes = 16
)

// bcryptEncoding is base64 with the alphabet of bcrypt.
var bcryptEncoding = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// bcryptHash hashes a password with a salt of its own, which golang.org/x/crypto/bcrypt takes from the host.
func bcryptHash(password string, salt []byte) (string, error) {
	if len(password) > 72 {
		return "", errors.New("password length exceeds 72 bytes")
	}
	key := append([]byte(password), 0)
	state, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return "", err
	}
	for range 1 << bcryptCost {
		blowfish.ExpandKey(key, state)
		blowfish.ExpandKey(salt, state)
	}
	text := []byte("OrpheanBeholderScryDoubt")
	for i := 0; i < len(text); i += blowfish.BlockSize {
		for range 64 {
			state.Encrypt(text[i:], text[i:])
		}
	}
	return fmt.Sprintf("$2a$%d$%s%s", bcryptCost, bcryptEncoding.EncodeToString(salt), bcryptEncoding.EncodeToString(text[:23])), nil
}
