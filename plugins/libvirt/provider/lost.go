package provider

import (
	"context"
	"reflect"
	"sync"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// ended ends each error of a client whose daemon on this computer went away.
const ended = "; libvirt's daemon went away in the middle: run it again"

type call = func(context.Context, *schema.ResourceData, any) diag.Diagnostics

// soon ends what is being done when libvirt's daemon goes away, and says so, whatever it was. Upstream never dials anew,
// and refreshes the pool of a new volume until that works, for the 20 minutes that the SDK gives it. Of a client that
// speaks with another host, ways has the way there.
func soon(p *schema.Provider, ways *sync.Map) {
	for _, each := range p.ResourcesMap {
		each.CreateContext = told(each.CreateContext, ways)
		each.ReadContext = told(each.ReadContext, ways)
		each.UpdateContext = told(each.UpdateContext, ways)
		each.DeleteContext = told(each.DeleteContext, ways)
	}
}

func told(do call, ways *sync.Map) call {
	if do == nil {
		return nil
	}
	return func(ctx context.Context, d *schema.ResourceData, client any) diag.Diagnostics {
		lost := connection(client).Disconnected()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-lost:
				cancel()
			case <-ctx.Done():
			}
		}()
		said := do(ctx, d, client)
		select {
		case <-lost:
			advice := ended
			if there, far := ways.Load(client); far {
				advice = there.(*way).ended()
			}
			for at := range said {
				said[at].Summary += advice
			}
		default:
		}
		return said
	}
}

// connection returns what upstream keeps to itself, and has no other way to: of a client's fields, the one that speaks.
func connection(client any) *golibvirt.Libvirt {
	field := reflect.ValueOf(client.(*libvirt.Client)).Elem().FieldByName("libvirt")
	return (*golibvirt.Libvirt)(field.UnsafePointer())
}
