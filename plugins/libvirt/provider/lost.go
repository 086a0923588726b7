package provider

import (
	"context"
	"strings"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// patience is how long a new volume may take to get at its pool. Upstream refreshes the pool until that works, for the
// 20 minutes that the SDK gives it, also when the connection has gone and will not come back.
const patience = time.Minute

// advice ends each error that means that libvirt's daemon went away.
const advice = "; libvirt's daemon went away in the middle: run it again"

type call = func(context.Context, *schema.ResourceData, any) diag.Diagnostics

// soon makes the loss of libvirt's daemon known soon, and as what it is, whatever was being done.
func soon(p *schema.Provider) {
	p.ResourcesMap["libvirt_volume"].Timeouts = &schema.ResourceTimeout{Create: schema.DefaultTimeout(patience)}
	for _, each := range p.ResourcesMap {
		each.CreateContext = told(each.CreateContext)
		each.ReadContext = told(each.ReadContext)
		each.UpdateContext = told(each.UpdateContext)
		each.DeleteContext = told(each.DeleteContext)
	}
}

func told(do call) call {
	if do == nil {
		return nil
	}
	return func(ctx context.Context, d *schema.ResourceData, client any) diag.Diagnostics {
		said := do(ctx, d, client)
		for at, each := range said {
			if isLost(each.Summary) {
				said[at].Summary += advice
			}
		}
		return said
	}
}

// isLost tells whether an error's words are go-libvirt's for a connection that ends during a call, or had ended before.
func isLost(words string) bool {
	return strings.HasSuffix(words, golibvirt.ErrInterrupted.Error()) || strings.HasSuffix(words, syscall.EINVAL.Error())
}
