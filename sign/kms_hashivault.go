//go:build hashivault

package sign

import _ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault" // signs with hashivault://…
