using Yizhan.Inventory;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<InventoryModule>());
