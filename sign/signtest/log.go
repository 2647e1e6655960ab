package signtest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
)

// enter takes an entry of Rekor v1, and proves that it is the only one of a log.
func (s *Sigstore) enter(w http.ResponseWriter, body []byte, r *http.Request) error {
	proposed, err := models.UnmarshalProposedEntry(bytes.NewReader(body), runtime.JSONConsumer())
	if err != nil {
		return err
	}
	entry, err := types.UnmarshalEntry(proposed)
	if err != nil {
		return err
	}
	canonical, err := types.CanonicalizeEntry(r.Context(), entry)
	if err != nil {
		return err
	}
	signer, err := signature.LoadECDSASignerVerifier(s.logKey, crypto.SHA256)
	if err != nil {
		return err
	}
	id, err := s.logID()
	if err != nil {
		return err
	}
	leaf := sha256.Sum256(append([]byte{0}, canonical...))
	checkpoint, err := util.CreateAndSignCheckpoint(r.Context(), "127.0.0.1", 1, 1, leaf[:], signer)
	if err != nil {
		return err
	}
	payload := map[string]any{"body": base64.StdEncoding.EncodeToString(canonical), "integratedTime": s.now().Unix(), "logID": hex.EncodeToString(id), "logIndex": 0}
	promise, err := json.Marshal(payload) // of a map: sorted, as the canonical form is
	if err != nil {
		return err
	}
	signed, err := signer.SignMessage(bytes.NewReader(promise))
	if err != nil {
		return err
	}
	payload["verification"] = map[string]any{
		"signedEntryTimestamp": signed,
		"inclusionProof":       map[string]any{"checkpoint": string(checkpoint), "hashes": []string{}, "logIndex": 0, "rootHash": hex.EncodeToString(leaf[:]), "treeSize": 1},
	}
	uuid := hex.EncodeToString(leaf[:])
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", uuid)
	w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
	w.WriteHeader(http.StatusCreated)
	return json.NewEncoder(w).Encode(map[string]any{uuid: payload})
}
