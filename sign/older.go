package sign

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// olderMediaType is the type of the bundles that the older forms are read as if the log made a promise of inclusion, and no proof.
const olderMediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// logEntry is an entry of the log as cosign writes it in an annotation.
type logEntry struct {
	SignedEntryTimestamp []byte
	Payload              struct {
		Body           []byte `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
	}
}

// material reads what proves a signature with a certificate from the annotations of the older forms. It returns nil for a signature by
// a key.
func material(annotations map[string]string) (*protobundle.VerificationMaterial, string, error) {
	text := annotations[static.CertificateAnnotationKey]
	if text == "" {
		return nil, "", nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, "", errors.New("its annotations hold no certificate in PEM")
	}
	m := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{
		Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes},
	}}
	mediaType := BundleMediaType
	if text := annotations[static.BundleAnnotationKey]; text != "" {
		entry, err := parseLogEntry(text)
		if err != nil {
			return nil, "", fmt.Errorf("its entry of the log: %w", err)
		}
		m.TlogEntries, mediaType = []*protorekor.TransparencyLogEntry{entry}, olderMediaType
	}
	if text := annotations[static.RFC3161TimestampAnnotationKey]; text != "" {
		var t cosignbundle.RFC3161Timestamp
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return nil, "", fmt.Errorf("its timestamp: %w", err)
		}
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: t.SignedRFC3161Timestamp}},
		}
	}
	return m, mediaType, nil
}

func parseLogEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var entry logEntry
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(entry.Payload.Body, &kind); err != nil {
		return nil, err
	}
	log, err := hex.DecodeString(entry.Payload.LogID)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          entry.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: log},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:    entry.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: entry.SignedEntryTimestamp},
		CanonicalizedBody: entry.Payload.Body,
	}, nil
}

// annotations returns a signature with a certificate as cosign finds it in the older form. What a log of Rekor v2 proves has no place there.
func annotations(b *protobundle.Bundle) (map[string]string, error) {
	m := b.GetVerificationMaterial()
	all := map[string]string{
		static.SignatureAnnotationKey:   base64.StdEncoding.EncodeToString(b.GetMessageSignature().GetSignature()),
		static.CertificateAnnotationKey: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.GetCertificate().GetRawBytes()})),
	}
	for _, t := range m.GetTimestampVerificationData().GetRfc3161Timestamps() {
		text, err := json.Marshal(cosignbundle.RFC3161Timestamp{SignedRFC3161Timestamp: t.GetSignedTimestamp()})
		if err != nil {
			return nil, err
		}
		all[static.RFC3161TimestampAnnotationKey] = string(text)
	}
	for _, e := range m.GetTlogEntries() {
		if e.GetInclusionPromise() == nil {
			continue
		}
		var entry logEntry
		entry.SignedEntryTimestamp = e.GetInclusionPromise().GetSignedEntryTimestamp()
		entry.Payload.Body, entry.Payload.IntegratedTime = e.GetCanonicalizedBody(), e.GetIntegratedTime()
		entry.Payload.LogIndex, entry.Payload.LogID = e.GetLogIndex(), hex.EncodeToString(e.GetLogId().GetKeyId())
		text, err := json.Marshal(entry)
		if err != nil {
			return nil, err
		}
		all[static.BundleAnnotationKey] = string(text)
	}
	return all, nil
}

// olderEnvelope returns an envelope of the older form as a bundle.
func olderEnvelope(l layer) ([]byte, error) {
	m, mediaType, err := material(l.desc.Annotations)
	if err != nil {
		return nil, err
	}
	text := []byte(`{"publicKey":{}}`)
	if m != nil {
		if text, err = compactJSON(m); err != nil {
			return nil, err
		}
	} else {
		mediaType = BundleMediaType
	}
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":%s,"dsseEnvelope":%s}`, mediaType, text, l.payload), nil
}

// payloadBundle returns a signature of a payload as a bundle.
func payloadBundle(payload []byte, m *protobundle.VerificationMaterial, mediaType string, sig []byte) *protobundle.Bundle {
	sum := sha256.Sum256(payload)
	return &protobundle.Bundle{
		MediaType: mediaType, VerificationMaterial: m,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: sig,
		}},
	}
}

// compactJSON returns a message as JSON that is the same in every build: protojson varies its spaces.
func compactJSON(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.Bytes(), err
}

// certifiedLayer finds the trusted identity that signed a payload of the older form with a certificate.
func (v *Verifier) certifiedLayer(l layer, m *protobundle.VerificationMaterial, mediaType string, sig []byte) (trusted, Author, Time, error) {
	b, err := bundle.NewBundle(payloadBundle(l.payload, m, mediaType, sig))
	if err != nil {
		return trusted{}, Author{}, Time{}, err
	}
	content, err := b.VerificationContent()
	if err != nil {
		return trusted{}, Author{}, Time{}, err
	}
	claimed, err := certified(content.Certificate())
	if err != nil {
		return trusted{}, Author{}, Time{}, err
	}
	return v.certified(claimed, func(i *Instance) (Author, Time, error) {
		return i.prove(b, verify.WithArtifact(bytes.NewReader(l.payload)))
	})
}
